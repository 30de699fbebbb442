push 1
print
add
