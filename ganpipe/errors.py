"""The one exception that users are meant to read."""


class GanpipeError(Exception):
    """Something the user can mend: names the thing, its value and the way out.

    The command line prints the message without a traceback and exits with code 2;
    every other exception is a defect of ganpipe and keeps its traceback.
    """
