again:
jmp again
