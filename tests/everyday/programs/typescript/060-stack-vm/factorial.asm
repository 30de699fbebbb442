push 1
store acc
push 10
store n
loop:
load n
jz end
load acc
load n
mul
dup
print ; running product
store acc
load n
push 1
sub
store n
jmp loop
end:
halt
