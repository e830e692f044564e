"""What people see: the command line, the tables of the terminal and the HTML report.

It asks `herz.app` for answers and shows them. It decides nothing, and nothing below imports it.
"""
