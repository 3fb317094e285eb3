//! Hardware: PCI and block devices, processors, accelerators.

use crate::grammar::{Command, Spelling};
use crate::kinds::{DEVICE_NODE, Kind, NUMBER, PCI, WORD};

/// Operands of one command line at most.
const MAX_DEVICES: usize = 32;

pub(super) fn all() -> Vec<Command> {
    vec![lspci(), lsblk(), lscpu(), nvidia_smi(), rocm_smi()]
}

fn lspci() -> Command {
    const RAW: &str = "reads raw configuration space, which some devices do not survive";
    const ELSEWHERE: &str = "reads another file";
    Command::new("lspci")
        .flags(&["-v", "-k", "-n", "-m", "-t", "-b", "-D", "-P", "--help", "--version"])
        .value("-s", PCI)
        .value("-d", PCI)
        .refused("-x", RAW)
        .refused("-M", "probes every bus number")
        .refused("-H", "goes to the hardware past the kernel")
        .refused("-A", "goes to the hardware past the kernel")
        .refused("-i", ELSEWHERE)
        .refused("-p", ELSEWHERE)
        .refused("-F", ELSEWHERE)
        .refused("-q", "asks a server outside")
        .refused("-Q", "asks a server outside")
}

fn lsblk() -> Command {
    Command::new("lsblk")
        .flags(&[
            "-A --noempty",
            "-D --discard",
            "-J --json",
            "-M --merge",
            "-O --output-all",
            "-P --pairs",
            "-S --scsi",
        ])
        .flags(&[
            "-N --nvme",
            "-v --virtio",
            "-a --all",
            "-b --bytes",
            "-d --nodeps",
            "-f --fs",
            "-i --ascii",
            "-l --list",
        ])
        .flags(&[
            "-m --perms",
            "-n --noheadings",
            "-p --paths",
            "-r --raw",
            "-s --inverse",
            "-t --topology",
            "-y --shell",
        ])
        .flags(&["-z --zoned", "-h --help", "-V --version"])
        .value("-E --dedup", WORD)
        .value("-I --include", WORD)
        .value("-e --exclude", WORD)
        .value("-o --output", WORD)
        .value("-w --width", NUMBER)
        .value("-x --sort", WORD)
        .attached("-T --tree", WORD)
        .refused("--sysroot", "reads another tree")
        .each(DEVICE_NODE, 0, MAX_DEVICES)
}

fn lscpu() -> Command {
    Command::new("lscpu")
        .flags(&[
            "-a --all",
            "-b --online",
            "-B --bytes",
            "-c --offline",
            "-J --json",
            "-x --hex",
            "-y --physical",
        ])
        .flags(&["--output-all", "-h --help", "-V --version"])
        .attached("-C --caches", WORD)
        .attached("-e --extended", WORD)
        .attached("-p --parse", WORD)
        .refused("-s --sysroot", "reads another tree")
}

/// Only what shows; every option that sets, resets or writes a file is left out.
fn nvidia_smi() -> Command {
    const GPU: Kind = WORD;
    const SETS: &str = "changes the GPU";
    Command::new("nvidia-smi")
        .spelled(Spelling::Words)
        .flags(&[
            "-h --help",
            "--version",
            "-L --list-gpus",
            "-B --list-excluded-gpus",
            "-q --query",
            "-u --unit",
        ])
        .flags(&["-x --xml-format", "--dtd", "--help-query-gpu", "--help-query-compute-apps"])
        .value("-i --id", GPU)
        .value("-d --display", WORD)
        .value("-l --loop", Kind::Number { min: 1, max: 86_400 })
        .value("-lms --loop-ms", Kind::Number { min: 100, max: 86_400_000 })
        .value("--query-gpu", WORD)
        .value("--query-supported-clocks", WORD)
        .value("--query-compute-apps", WORD)
        .value("--query-accounted-apps", WORD)
        .value("--query-retired-pages", WORD)
        .value("--query-remapped-rows", WORD)
        .value("--format", Kind::ListOf(&["csv", "noheader", "nounits"]))
        .refused("-f --filename", "writes a file")
        .refused("-r --gpu-reset", SETS)
        .refused("-pm --persistence-mode", SETS)
        .refused("-pl --power-limit", SETS)
        .refused("-e --ecc-config", SETS)
        .refused("-p --reset-ecc-errors", SETS)
        .refused("-c --compute-mode", SETS)
        .refused("-ac --applications-clocks", SETS)
        .refused("-rac --reset-applications-clocks", SETS)
        .refused("-lgc --lock-gpu-clocks", SETS)
        .refused("-rgc --reset-gpu-clocks", SETS)
        .refused("-lmc --lock-memory-clocks", SETS)
        .refused("-am --accounting-mode", SETS)
        .refused("-caa --clear-accounted-apps", SETS)
        .refused("-mig --multi-instance-gpu", SETS)
        .sub(
            words("topo")
                .flags(&["-m --matrix"])
                .value("-p2p", Kind::OneOf(&["r", "w", "n", "a", "p"]))
                .value("-i --id", GPU),
        )
        .sub(
            words("nvlink")
                .flags(&["-s --status", "-c --capabilities", "-p --pcibusid", "-e --errorcounters"])
                .value("-i --id", GPU),
        )
        .sub(monitor("dmon"))
        .sub(monitor("pmon"))
        .sub(
            words("mig").flags(&["-lgip", "-lgipp", "-lgi", "-lci", "-lcip"]).value("-i --id", GPU),
        )
}

fn words(name: &'static str) -> Command {
    Command::new(name).spelled(Spelling::Words).flags(&["-h --help"])
}

fn monitor(name: &'static str) -> Command {
    words(name)
        .value("-i --id", WORD)
        .value("-d --delay", Kind::Number { min: 1, max: 10 })
        .value("-c --count", Kind::Number { min: 1, max: 86_400 })
        .value("-s --select", WORD)
        .value("-o --options", WORD)
        .refused("-f --filename", "writes a file")
}

/// Only the long `--show…` options: the short ones mix showing and setting.
fn rocm_smi() -> Command {
    Command::new("rocm-smi")
        .spelled(Spelling::Words)
        .flags(&[
            "-h --help",
            "-V --version",
            "-a --showallinfo",
            "--showhw",
            "--showid",
            "--showvbios",
            "--showdriverversion",
        ])
        .flags(&[
            "--showfwinfo",
            "--showmclkrange",
            "--showmemvendor",
            "--showsclkrange",
            "--showproductname",
            "--showserial",
        ])
        .flags(&[
            "--showuniqueid",
            "--showvoltagerange",
            "--showbus",
            "--showpagesinfo",
            "--showpendingpages",
            "--showretiredpages",
        ])
        .flags(&[
            "--showunreservablepages",
            "--showfan",
            "--showpower",
            "--showtemp",
            "--showuse",
            "--showmemuse",
            "--showvoltage",
        ])
        .flags(&[
            "--showbw",
            "--showclocks",
            "--showgpuclocks",
            "--showclkfrq",
            "--showmaxpower",
            "--showmemoverdrive",
        ])
        .flags(&[
            "--showoverdrive",
            "--showperflevel",
            "--showprofile",
            "--showpids",
            "--showpidgpus",
            "--showreplaycount",
        ])
        .flags(&[
            "--showrasinfo",
            "--showvc",
            "--showxgmierr",
            "--showtopo",
            "--showtopoaccess",
            "--showtopoweight",
        ])
        .flags(&[
            "--showtopohops",
            "--showtopotype",
            "--showtoponuma",
            "--showenergycounter",
            "--shownodesbw",
            "--showmetrics",
        ])
        .flags(&["--showcomputepartition", "--showmemorypartition", "--json", "--csv"])
        .value("--showmeminfo", Kind::OneOf(&["vram", "vis_vram", "gtt", "all"]))
        .value("-d --device", NUMBER)
}
