"""Event sources: register them with sellers, store what they accept, and compare counts.

An event source is what a seller files events under, such as a website or a shop's till.
Most processes only track events, so these modules aren't imported with the library.
"""
