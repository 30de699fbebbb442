push 7
call square
print
push 9
call square
print
halt
square:
  dup
  mul
  ret
