"""Estimate the spatially varying blur of a photo and remove it."""

__version__ = '0.1.0'
