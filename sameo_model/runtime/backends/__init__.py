"""Engines that run a bundle's graphs; each module is imported when its backend is used."""
