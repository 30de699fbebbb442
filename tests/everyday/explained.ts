/** Programs of the corpus that end otherwise inside, with the reason; counted against the share that must end the same. */
export const explained: ReadonlyMap<string, string> = new Map([
  [
    'python/096-invoices',
    'its command is "python3 -m invoices": a job has a main file, no module name',
  ],
  [
    'shell/039-refactor-tree',
    'it prints files in the order of the folder, which no system promises',
  ],
  [
    'broken/009-node-syntax-error',
    'the parser of the analysis says "Expected `,` or `}`" where V8 says "Unexpected identifier"',
  ],
])
