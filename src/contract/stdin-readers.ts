/** Text of a source that may read standard input. */
export const stdinReaders = {
  python:
    /\bstdin\b|\binput\s*\(|\bfileinput\b|\bopen\s*\(\s*0\b|\bos\.(read|system|popen|exec|spawn)|\bsubprocess\b/,
  node: /\bstdin\b|\breadFile(Sync)?\s*\(\s*0\b|\bread(Sync)?\s*\(\s*0\b|\breadline\b|\bchild_process\b/,
} as const
