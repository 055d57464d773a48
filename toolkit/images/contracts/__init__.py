"""Image contracts (`images/NAME/contract.yml`): the properties of published images that the stack relies on."""
