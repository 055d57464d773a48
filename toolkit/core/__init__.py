"""What every other floor builds on: errors, console, files, time; nothing here knows Docker or the checkout."""
