"""A web page to play with a classifier's logits.

view.py says what is looked at (a View) and computes it (`compute`); controls.py
lists what can be turned, with what the paper found there; saving.py writes a view
as PNG, JSON and Python; server.py and the page beside it show it live.
tools/explore.py is the command.
"""
