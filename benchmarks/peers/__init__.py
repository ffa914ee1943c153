"""The peers: the way that each project's own examples train a VAE, on our layers and our images.

Every module imports its project inside its classes, so that the others run where it is not installed.
"""
