"""The outside: the only I/O of the scheduler; each part implements or drives `herz.ports`."""
