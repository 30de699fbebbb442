/** Maximum zones of one program, and functions reported. Without a schema, so that the analysis process loads none. */
export const programZonesMax = 16
export const residualMax = 256
export const zoneNameMax = 64
