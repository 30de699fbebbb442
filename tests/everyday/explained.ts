/**
 * Programs with a known difference, with the reason; still counted as different. docs/job.md documents them for
 * users.
 */
export const explained: ReadonlyMap<string, string> = new Map([
  [
    'python/096-invoices',
    'its command is "python3 -m invoices": a job has a main file, no module name',
  ],
  ['typescript/031-decorators', 'the transformer knows no initializers of decorators'],
  ['typescript/032-field-validation', 'the transformer knows no decorators of fields'],
  ['node/055-proxies', 'an isolate cannot tell a proxy from its target, and prints that'],
  [
    'shell/039-refactor-tree',
    'it prints files in the order of the folder, which no system promises',
  ],
  [
    'broken/009-node-syntax-error',
    'the parser of the analysis says "Expected `,` or `}`" where V8 says "Unexpected identifier"',
  ],
])
