"""What a web request says about the shopper: address, page, click and consent.

Uses only the standard library. The framework integrations are thin layers over :mod:`.capture`.
"""
