# The daily commands; `just` lists them.

_list:
    @just --list

# All tests
test:
    cargo test

# Everything CI does
ci:
    bash .ci/run

# All benchmarks, then how they compare
bench:
    cargo bench --bench check --bench verify --bench layer
    cargo bench --bench summary
    cargo bench --bench buckets
    cp Cargo.lock benches/table/
    cargo run --release --manifest-path benches/table/Cargo.toml
    bash .ci/databases cargo bench --bench bulk
    bash .ci/databases cargo run --release --manifest-path benches/peers/Cargo.toml

# The instruction counts of the hot paths against the baseline
instructions:
    bash .ci/instructions

# Take the instruction counts of now as the baseline
instructions-accept:
    bash .ci/instructions --accept

# Every fault on PostgreSQL and MariaDB, 20 times, and ten minutes of soak; takes an hour
faults:
    bash .ci/faults full
