"""A web page to explore a classifier's logits.

view.py defines what is shown (a View) and computes it (`compute`); controls.py
lists the controls, with what the paper found about each; saving.py writes a view
as PNG, JSON and Python; server.py and the page beside it show it live.
cli/explore.py is the command.
"""
