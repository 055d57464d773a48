"""What the stack relies on in each published image (`images/NAME/contract.yml`), and whether an image keeps it."""
