/**
 * Requests of Firecracker's API that this engine sends, with the names of its published document (Swagger 2.0). Absent on
 * purpose: `/mmds` (a guest without a network card reaches no metadata service), `/network-interfaces`, `/serial`,
 * `/cpu-config`, `/pmem` and `/hotplug`: each is code of the host that a guest would reach.
 *
 * The document has no field for a generation id: VMGenID is renewed by Firecracker itself at each load.
 */
export type ApiRequest =
  | Put<'/machine-config', MachineConfiguration>
  | Put<'/boot-source', BootSource>
  | Put<`/drives/${string}`, Drive>
  | Patch<`/drives/${string}`, PartialDrive>
  | Put<'/vsock', Vsock>
  | Put<'/entropy', { readonly rate_limiter?: RateLimiter }>
  | Put<'/balloon', Balloon>
  | Patch<'/balloon', Pick<Balloon, 'amount_mib'>>
  | Put<'/actions', { readonly action_type: 'InstanceStart' | 'SendCtrlAltDel' }>
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
  /** 1, or an even number of 32 at most. */
  readonly vcpu_count: number
  readonly mem_size_mib: number
  readonly smt: false
  readonly track_dirty_pages: boolean
}

/** Paths are those that the jailed process sees. */
export interface BootSource {
  readonly kernel_image_path: string
  readonly initrd_path?: string
  readonly boot_args: string
}

export interface Drive {
  readonly drive_id: string
  readonly is_root_device: boolean
  readonly is_read_only: boolean
  readonly path_on_host: string
  readonly io_engine: 'Sync'
  readonly rate_limiter?: RateLimiter
}

export interface PartialDrive {
  readonly drive_id: string
  readonly rate_limiter: RateLimiter
}

/** Bytes and operations; a bucket that is absent does not limit. */
export interface RateLimiter {
  readonly bandwidth?: TokenBucket
  readonly ops?: TokenBucket
}

/** A size or refill time of 0 lifts the limit, so neither is ever 0 here. */
export interface TokenBucket {
  readonly size: number
  /** Milliseconds in which an empty bucket is full again. */
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
  readonly snapshot_type: 'Full' | 'Diff'
  readonly snapshot_path: string
  readonly mem_file_path: string
}

export interface SnapshotLoad {
  readonly snapshot_path: string
  readonly mem_backend: { readonly backend_type: 'File'; readonly backend_path: string }
  readonly track_dirty_pages: boolean
  readonly resume_vm: boolean
  readonly network_overrides?: readonly {
    readonly iface_id: string
    readonly host_dev_name: string
  }[]
  /** From 1.16.0. */
  readonly vsock_override?: { readonly uds_path: string }
  /** From 1.16.0, x86-64 only: kvmclock goes on by the time since the snapshot. */
  readonly clock_realtime?: boolean
}
