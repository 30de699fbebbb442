/** Programs of the corpus that end otherwise inside, with the reason: counted, never edited to fit. */
export const explained: ReadonlyMap<string, string> = new Map([])
