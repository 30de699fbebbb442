# needs: cc
# memory: 512MB
# A small build in C, and its own test of what was built.
cat > add.c <<'C'
int add(int a, int b) { return a + b; }
C
cat > test.c <<'C'
#include <stdio.h>
int add(int a, int b);
int main(void) { return printf("%s\n", add(40, 2) == 42 ? "right" : "wrong") < 0; }
C
cc -O1 -o test add.c test.c && ./test
