require colors
greet() { paint "${2:-green}" "$GREETING, $1!"; }
