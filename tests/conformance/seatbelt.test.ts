import { inNode } from './guests-of-programs.ts'
import { makeSeatbelt } from './seatbelt.ts'
import { inJs } from './stand.ts'
import { conformance } from './suite.ts'

/** Seatbelt as played on Linux: the profile's rules by Landlock and seccomp, and the limits as on macOS, by sampling. */
for (const language of [inNode, inJs])
  conformance(
    `seatbelt (played), ${language.language}`,
    () => makeSeatbelt(language.language),
    language,
  )
