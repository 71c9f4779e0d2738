"""The door: python cli.py COMMAND. The commands are in deepvit/commands/."""

from deepvit.commands.start import main

if __name__ == "__main__":
    main()
