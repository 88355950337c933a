"""Local web pages: the explorer of logits and the two-alternative forced-choice study."""
