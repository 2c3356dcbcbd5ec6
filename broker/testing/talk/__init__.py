"""What clients and broker say to each other.

conversation     one connection's, as it is said; conversations: those of all
wording          each thing that is said, in one line; folding: many like ones, in a few
transcript       a conversation as a text
"""
