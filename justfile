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

# Whether a thousand times as many cut-offs make a request dearer; takes ten minutes
instructions-many:
    bash .ci/instructions --many

# Two million cut-offs, and tokens that look for theirs, under AddressSanitizer
asan:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo run --release \
        --target x86_64-unknown-linux-gnu --target-dir target/asan \
        --manifest-path benches/instructions/Cargo.toml -- many 6400

# The simulation on 10,000 seeds, and 1,000 of them once more
simulate:
    SIMULATION_SEEDS=0..10000 cargo test --test simulation -- --nocapture no_history_breaks_a_law
    SIMULATION_SEEDS=0..1000 cargo test --test simulation -- the_same_seed_gives_the_same_history

# Whether the tests find bugs that are planted
plants:
    bash .ci/databases bash .ci/plants

# The simulation on a million seeds, optimised, and the readers of tokens on millions; takes an hour
nightly:
    cargo test --lib -- --ignored many_
    SIMULATION_SEEDS=0..1000000 cargo test --test simulation \
        --config 'profile.dev.package.tower-revocation.opt-level=3' \
        --config 'profile.dev.package.tower-revocation.debug=false' \
        -- --nocapture no_history_breaks_a_law

# Every fault on PostgreSQL and MariaDB, 20 times, and ten minutes of soak; takes an hour
faults:
    bash .ci/faults full
