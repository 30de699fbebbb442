import * as z from 'zod'

/**
 * Content of a package layer: a `node_modules`, a folder of installed Python packages, or wheels.
 */
export const layerKinds = ['node', 'python', 'wheels'] as const
export type LayerKind = (typeof layerKinds)[number]

/** Maximum layers of one job. */
export const layersMax = 4
/** Name of a layer's folder: a digest, unguessable without read access to its content. */
export const layerName = z.string().regex(/^[0-9a-f]{64}$/)

/** A read-only package tree that a wall mounts, referenced by digest, never by host path. */
export const packageLayer = z
  .object({
    kind: z.enum(layerKinds),
    layer: layerName,
    files: z.number().int().min(0),
    bytes: z.number().int().min(0),
  })
  .readonly()
export type PackageLayer = z.output<typeof packageLayer>

/** Name of the single folder in a layer; Node resolves packages only in `node_modules`. */
export const contentOf: Readonly<Record<LayerKind, string>> = {
  node: 'node_modules',
  python: 'packages',
  wheels: 'packages',
}
