import * as z from 'zod'

/**
 * From here on, schemas are interpreted. Zod compiles a parser at the first use of a schema, which takes longer than the single
 * parse of a short command: some 3 % of `mayfly run --once` and `mayfly exec`. A server, which parses each request, compiles.
 */
z.config({ jitless: true })
