/* The wall, tried from inside before the program counts. */
#ifndef ZYGOTE_PROVE_H
#define ZYGOTE_PROVE_H

/* Ends the process, and says why, unless every layer holds that can be tried from here. */
void prove(void);

#endif
