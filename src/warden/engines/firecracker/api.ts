/**
 * API requests that this engine sends to Firecracker, with the names of its published specification (Swagger 2.0). Omitted on
 * purpose: `/mmds` (a guest without a network card reaches no metadata service), `/network-interfaces`, `/serial`,
 * `/cpu-config`, `/pmem` and `/hotplug`: each adds host code that a guest can attack.
 *
 * The specification has no field for a generation id: Firecracker itself renews VMGenID at each load.
 */
export type ApiRequest =
  | Put<'/machine-config', MachineConfiguration>
  | Put<'/boot-source', BootSource>
  | Put<`/drives/${string}`, Drive>
  | Patch<`/drives/${string}`, PartialDrive>
  | Put<'/vsock', Vsock>
  | Put<'/entropy', Record<string, never>>
  | Put<'/balloon', Balloon>
  | Put<'/actions', { readonly action_type: 'InstanceStart' }>
  | Patch<'/vm', { readonly state: 'Paused' | 'Resumed' }>
  | Put<'/snapshot/create', SnapshotFiles>
  | Put<'/snapshot/load', SnapshotLoad>

interface Put<Path extends string, Body> {
  readonly method: 'PUT'
  readonly path: Path
  readonly body: Body
}

interface Patch<Path extends string, Body> {
  readonly method: 'PATCH'
  readonly path: Path
  readonly body: Body
}

export interface MachineConfiguration {
  readonly vcpu_count: 1
  readonly mem_size_mib: number
  readonly smt: false
  readonly track_dirty_pages: false
}

/** Paths as the jailed process sees them. */
export interface BootSource {
  readonly kernel_image_path: string
  readonly initrd_path: string
  readonly boot_args: string
}

export interface Drive {
  readonly drive_id: string
  readonly is_root_device: boolean
  readonly is_read_only: boolean
  readonly path_on_host: string
  readonly io_engine: 'Sync'
}

export interface PartialDrive {
  readonly drive_id: string
  readonly rate_limiter: { readonly bandwidth: TokenBucket }
}

/** A size or refill time of 0 disables the limit, so neither is ever 0 here. */
export interface TokenBucket {
  readonly size: number
  /** Milliseconds to refill an empty bucket. */
  readonly refill_time: number
}

export interface Vsock {
  readonly guest_cid: number
  readonly uds_path: string
}

export interface Balloon {
  readonly amount_mib: number
  readonly deflate_on_oom: boolean
}

export interface SnapshotFiles {
  readonly snapshot_type: 'Full'
  readonly snapshot_path: string
  readonly mem_file_path: string
}

export interface SnapshotLoad {
  readonly snapshot_path: string
  readonly mem_backend: { readonly backend_type: 'File'; readonly backend_path: string }
  readonly track_dirty_pages: boolean
  readonly resume_vm: boolean
  /** Since 1.16.0, x86-64 only: advances kvmclock by the time since the snapshot. */
  readonly clock_realtime?: boolean
}
