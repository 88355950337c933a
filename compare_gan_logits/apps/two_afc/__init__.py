"""The two-alternative forced choice study of Section 5.2 (Table 1).

A subject sees an original between two reconstructions of it and says which one is
closer. trials.py draws the questions, server.py asks them, answers.py keeps what
was said, analysis.py makes the table; cli/two_afc.py is the command.
"""
