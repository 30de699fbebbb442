"""Small text helpers."""
from .analysis import TextStats, palindromes
from .formats import get_formatter, available

__all__ = ["TextStats", "palindromes", "get_formatter", "available"]
__version__ = "0.3.1"
