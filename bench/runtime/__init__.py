"""The task runtime beside asyncio, uvloop and the floor in C, in one process, in turns."""
