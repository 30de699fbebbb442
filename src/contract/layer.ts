import * as z from 'zod'

/** What a layer of packages holds: a `node_modules`, a folder of installed Python packages, or wheels. */
export const layerKinds = ['node', 'python', 'wheels'] as const
export type LayerKind = (typeof layerKinds)[number]

/** Layers of one job. */
export const layersMax = 4
/** The name of a layer below the folder of layers: a digest that nobody can guess who may not read it. */
export const layerName = z.string().regex(/^[0-9a-f]{64}$/)

/** A read-only tree of packages that a wall mounts, as a job names it: never by a path of the host. */
export const packageLayer = z
  .object({
    kind: z.enum(layerKinds),
    layer: layerName,
    files: z.number().int().min(0),
    bytes: z.number().int().min(0),
  })
  .readonly()
export type PackageLayer = z.output<typeof packageLayer>

/** The one folder in a layer; Node finds nothing in a folder of another name. */
export const contentOf: Readonly<Record<LayerKind, string>> = {
  node: 'node_modules',
  python: 'packages',
  wheels: 'packages',
}
