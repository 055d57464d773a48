"""The functions behind the tasks: nothing here reads or starts anything when it is imported."""
