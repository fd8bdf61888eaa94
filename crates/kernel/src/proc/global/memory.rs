//! Memory: counters, zones, slabs, swap.

use crate::object::PAGE;
use crate::vfs::types::Ctx;

pub(super) fn meminfo(ctx: &Ctx) -> String {
    let m = ctx.view.memory();
    let limit = m.total / 2 + m.swap_total;
    let total = ctx.view.facts().memory;
    let rows: [(&str, u64); 50] = [
        ("MemTotal", m.total),
        ("MemFree", m.free),
        ("MemAvailable", m.available),
        ("Buffers", m.buffers),
        ("Cached", m.cached),
        ("SwapCached", 0),
        ("Active", m.active_anon + m.active_file),
        ("Inactive", m.inactive_anon + m.inactive_file),
        ("Active(anon)", m.active_anon),
        ("Inactive(anon)", m.inactive_anon),
        ("Active(file)", m.active_file),
        ("Inactive(file)", m.inactive_file),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", m.swap_total),
        ("SwapFree", m.swap_free),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", m.dirty),
        ("Writeback", 0),
        ("AnonPages", m.anon_pages),
        ("Mapped", m.mapped),
        ("Shmem", m.shmem),
        ("KReclaimable", m.slab_reclaimable),
        ("Slab", m.slab_reclaimable + m.slab_unreclaimable),
        ("SReclaimable", m.slab_reclaimable),
        ("SUnreclaim", m.slab_unreclaimable),
        ("KernelStack", m.kernel_stack),
        ("PageTables", m.page_tables),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", limit),
        ("Committed_AS", m.committed),
        ("VmallocTotal", 34_359_738_367 * 1024),
        ("VmallocUsed", 20_480 * 1024),
        ("VmallocChunk", 0),
        ("Percpu", ctx.view.facts().cpu.count() as u64 * 512 * 1024),
        ("HardwareCorrupted", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
        ("Hugepagesize", 2048 * 1024),
        ("Hugetlb", 0),
        ("DirectMap4k", 100_208 * 1024),
        ("DirectMap2M", (total / (2 << 20)).saturating_sub(49) * (2 << 20)),
        ("DirectMap1G", 0),
    ];
    let mut s = String::new();
    for (name, bytes) in rows {
        if name == "Hugepagesize" {
            for h in ["Total", "Free", "Rsvd", "Surp"] {
                s += &format!("HugePages_{h}:{:>8}\n", 0);
            }
        }
        // The name takes 16 columns, the number 8: longer ones push.
        s += &format!("{:<16}{:>8} kB\n", format!("{name}:"), bytes / 1024);
    }
    s
}

pub(super) fn vmstat(ctx: &Ctx) -> String {
    let (m, sys) = (ctx.view.memory(), ctx.view.system());
    let pg = |b: u64| b / PAGE;
    let d = sys.disk;
    let rows = [
        ("nr_free_pages", pg(m.free)),
        ("nr_zone_inactive_anon", pg(m.inactive_anon)),
        ("nr_zone_active_anon", pg(m.active_anon)),
        ("nr_zone_inactive_file", pg(m.inactive_file)),
        ("nr_zone_active_file", pg(m.active_file)),
        ("nr_zone_unevictable", 0),
        ("nr_zone_write_pending", pg(m.dirty)),
        ("nr_mlock", 0),
        ("nr_bounce", 0),
        ("nr_zspages", 0),
        ("nr_free_cma", 0),
        ("numa_hit", sys.pgfault * 2),
        ("numa_miss", 0),
        ("numa_foreign", 0),
        ("numa_interleave", 1536),
        ("numa_local", sys.pgfault * 2),
        ("numa_other", 0),
        ("nr_inactive_anon", pg(m.inactive_anon)),
        ("nr_active_anon", pg(m.active_anon)),
        ("nr_inactive_file", pg(m.inactive_file)),
        ("nr_active_file", pg(m.active_file)),
        ("nr_unevictable", 0),
        ("nr_slab_reclaimable", pg(m.slab_reclaimable)),
        ("nr_slab_unreclaimable", pg(m.slab_unreclaimable)),
        ("nr_isolated_anon", 0),
        ("nr_isolated_file", 0),
        ("nr_anon_pages", pg(m.anon_pages)),
        ("nr_mapped", pg(m.mapped)),
        ("nr_file_pages", pg(m.cached + m.buffers)),
        ("nr_dirty", pg(m.dirty)),
        ("nr_writeback", 0),
        ("nr_shmem", pg(m.shmem)),
        ("nr_kernel_stack", m.kernel_stack / 1024),
        ("nr_page_table_pages", pg(m.page_tables)),
        ("pgpgin", d.sectors_read / 2),
        ("pgpgout", d.sectors_written / 2),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgalloc_dma", 0),
        ("pgalloc_dma32", sys.pgfault * 2),
        ("pgalloc_normal", 0),
        ("pgfree", sys.pgfault * 2 + pg(m.free)),
        ("pgactivate", pg(m.active_file)),
        ("pgdeactivate", 0),
        ("pgfault", sys.pgfault),
        ("pgmajfault", sys.pgmajfault),
        ("pgrefill", 0),
        ("pgsteal_kswapd", 0),
        ("pgscan_kswapd", 0),
        ("oom_kill", 0),
        ("drop_pagecache", 0),
        ("drop_slab", 0),
        ("thp_fault_alloc", 21),
        ("unevictable_pgs_scanned", 0),
        ("swap_ra", 0),
        ("nr_unstable", 0),
    ];
    rows.iter().map(|(k, v)| format!("{k} {v}\n")).collect()
}

pub(super) fn zoneinfo(ctx: &Ctx) -> String {
    let m = ctx.view.memory();
    let pages = m.total / PAGE;
    let mut s = String::new();
    for (zone, span, present, managed, free) in [
        ("DMA", 4095, 3998, 3840, 3840),
        (
            "DMA32",
            pages + 16_000,
            pages + 12_000,
            pages.saturating_sub(3840),
            (m.free / PAGE).saturating_sub(3840),
        ),
    ] {
        s += &format!(
            "Node 0, zone {zone:>8}\n  pages free     {free}\n        boost    0\n        min      {}\n        low      {}\n        high     {}\n        spanned  {span}\n        present  {present}\n        managed  {managed}\n        cma      0\n        protection: (0, 0, 0, 0, 0)\n  start_pfn:           {}\n",
            managed / 90,
            managed / 72,
            managed / 60,
            if zone == "DMA" { 1 } else { 4096 }
        );
    }
    s
}

pub(super) fn slabinfo() -> String {
    let mut s = String::from(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    );
    for (name, objs, size, per, pages) in [
        ("ext4_inode_cache", 14_526, 1184, 27, 8),
        ("dentry", 38_430, 192, 21, 1),
        ("buffer_head", 31_512, 104, 39, 1),
        ("inode_cache", 9_850, 648, 25, 4),
        ("task_struct", 252, 9792, 3, 8),
        ("kmalloc-4k", 496, 4096, 8, 8),
        ("kmalloc-1k", 2_160, 1024, 16, 4),
        ("kmalloc-512", 4_416, 512, 16, 2),
        ("kmalloc-64", 15_488, 64, 64, 1),
    ] {
        let slabs = objs / per;
        s += &format!(
            "{name:<17} {objs:6} {objs:6} {size:6} {per:4} {pages:4} : tunables {:4} {:4} {:4} : slabdata {slabs:6} {slabs:6} {:6}\n",
            0, 0, 0, 0
        );
    }
    s
}

pub(super) fn swaps(ctx: &Ctx) -> String {
    let m = ctx.view.memory();
    let f = ctx.view.facts();
    let mut s = String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    if m.swap_total > 0
        && let Some(p) = f.disk.swap()
    {
        let name = format!("/dev/{}", f.disk.part_name(p.number));
        let (size, used) = (m.swap_total / 1024, (m.swap_total - m.swap_free) / 1024);
        let tab = |n: u64| if n < 10_000_000 { "\t" } else { "" };
        s += &format!(
            "{name:<40}partition\t{size}\t{}{used}\t{}-2\n",
            tab(size),
            tab(used)
        );
    }
    s
}
