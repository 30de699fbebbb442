import { layersMax } from '../contract/layer.ts'
import { MayflyError } from '../contract/error.ts'
import { findPackages, type PackageSource } from './find.ts'
import { Layers, type AcquiredLayer } from './layers.ts'

/** Layers in use by one run. */
export interface AcquiredPackages extends Disposable {
  readonly layers: readonly AcquiredLayer[]
}

const stores = new Map<string, Layers>()

/** Acquires the layers of several folders, in order; all or none. Throws MayflyError USAGE or STATE. */
export async function acquirePackages(
  tenant: string,
  sources: readonly (string | PackageSource)[],
  folder: string,
  onAcquired: (source: PackageSource, layer: AcquiredLayer) => void = () => {},
): Promise<AcquiredPackages> {
  if (sources.length > layersMax)
    throw new MayflyError('USAGE', `Cannot mount more than ${layersMax} folders of packages`)
  const store = stores.get(folder) ?? new Layers({ folder })
  stores.set(folder, store)
  const layers: AcquiredLayer[] = []
  const release = () => {
    for (const layer of layers.splice(0)) layer[Symbol.dispose]()
  }
  try {
    for (const given of sources) {
      const source = typeof given === 'string' ? findPackages(given) : given
      const layer = await store.take(tenant, source)
      layers.push(layer)
      onAcquired(source, layer)
    }
    return { layers: [...layers], [Symbol.dispose]: release }
  } catch (error) {
    release()
    throw error
  }
}
