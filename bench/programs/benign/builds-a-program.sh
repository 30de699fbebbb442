# needs: cc
# memory: 512MB
# A small build in C, and what it has built is run.
cat > add.c <<'C'
int add(int a, int b) { return a + b; }
C
cat > main.c <<'C'
#include <stdio.h>
int add(int a, int b);
int main(void) { printf("%d\n", add(40, 2)); return 0; }
C
cc -O1 -c add.c && cc -O1 -c main.c && cc -o main add.o main.o && echo built
