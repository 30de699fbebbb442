; bad
push 1
fly high
