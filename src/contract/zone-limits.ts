/** Limits of a program: zones, functions reported as residual, characters of a name. No zod here: the analysis process loads none. */
export const programZonesMax = 16
export const residualMax = 256
export const zoneNameMax = 64
