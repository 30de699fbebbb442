/* Self-test of the wall, from inside. */
#ifndef ZYGOTE_PROVE_H
#define ZYGOTE_PROVE_H

/* Fails the start if a layer that can be tested from inside is missing. */
void prove(void);

#endif
