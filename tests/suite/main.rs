//! All tests but those that need a process of their own, as one program: what they have in common, the networks and
//! kernels for each scalar, is compiled once and not once a file.

#[cfg(feature = "std")]
mod activation_laws;
mod activations;
#[cfg(feature = "approx")]
mod approximate;
#[cfg(all(feature = "ndarray", feature = "proptest"))]
mod arrays;
#[cfg(feature = "std")]
mod began;
#[cfg(feature = "std")]
mod biases;
#[cfg(feature = "std")]
mod branches;
#[cfg(feature = "std")]
mod budget;
#[cfg(feature = "safetensors")]
mod buffers;
#[cfg(feature = "std")]
mod capacities;
#[cfg(feature = "std")]
mod certificate;
#[cfg(feature = "safetensors")]
mod checkpoint;
#[cfg(feature = "std")]
mod checkpointed;
#[cfg(feature = "std")]
mod curvature;
#[cfg(feature = "std")]
mod datasets;
#[cfg(feature = "safetensors")]
mod debug_texts;
#[cfg(feature = "std")]
mod deep;
#[cfg(feature = "std")]
mod descent;
#[cfg(feature = "std")]
mod diagnosis;
#[cfg(feature = "std")]
mod dual;
#[cfg(feature = "std")]
mod edges;
#[cfg(feature = "std")]
mod eigenvalues;
#[cfg(feature = "std")]
mod embeddings;
#[cfg(feature = "std")]
mod entry_points;
#[cfg(feature = "std")]
mod errors;
#[cfg(feature = "tensorboard")]
mod event_files;
#[cfg(feature = "std")]
mod evidence;
#[cfg(feature = "std")]
mod file_datasets;
#[cfg(feature = "std")]
mod fixes;
#[cfg(feature = "std")]
mod fixtures;
#[cfg(feature = "std")]
mod floors;
#[cfg(feature = "std")]
mod golden_bits;
#[cfg(feature = "std")]
mod groups;
#[cfg(feature = "std")]
mod harmless;
#[cfg(feature = "std")]
mod hints;
#[cfg(feature = "std")]
mod initializers;
#[cfg(feature = "std")]
mod innocent;
#[cfg(feature = "serde")]
mod json;
#[cfg(feature = "safetensors")]
mod kept_weights;
#[cfg(feature = "std")]
mod law_messages;
#[cfg(feature = "std")]
mod layer_laws;
#[cfg(feature = "std")]
mod losses;
#[cfg(feature = "std")]
mod lyapunov;
#[cfg(feature = "std")]
mod lying_parts;
#[cfg(feature = "std")]
mod made_up;
mod math;
#[cfg(feature = "std")]
mod mean_field;
#[cfg(feature = "std")]
mod metrics;
#[cfg(feature = "std")]
mod missed;
#[cfg(all(feature = "half", feature = "proptest", feature = "safetensors"))]
mod models;
#[cfg(feature = "std")]
mod mutants;
#[cfg(feature = "std")]
mod nesting;
#[cfg(feature = "std")]
mod norms;
#[cfg(feature = "std")]
mod numbers;
#[cfg(feature = "std")]
mod optimizers;
#[cfg(feature = "std")]
mod own_scalar;
#[cfg(feature = "serde")]
mod pages;
#[cfg(feature = "std")]
mod panics;
mod parity;
#[cfg(feature = "std")]
mod part_laws;
#[cfg(feature = "std")]
mod parts;
#[cfg(feature = "std")]
mod pass_lengths;
#[cfg(feature = "std")]
mod places;
#[cfg(feature = "std")]
mod plain_backward;
#[cfg(feature = "std")]
mod prediction;
#[cfg(feature = "proptest")]
mod predictions;
#[cfg(feature = "std")]
mod prose;
#[cfg(feature = "std")]
mod prototypes;
#[cfg(all(feature = "std", feature = "half"))]
mod range;
#[cfg(feature = "safetensors")]
mod rank_faults;
#[cfg(all(feature = "safetensors", feature = "proptest"))]
mod rank_networks;
#[cfg(feature = "safetensors")]
mod rank_requests;
#[cfg(feature = "safetensors")]
mod rank_spikes;
#[cfg(feature = "safetensors")]
mod ranks;
#[cfg(feature = "safetensors")]
mod recurrent_noise;
#[cfg(feature = "safetensors")]
mod registry;
#[cfg(feature = "std")]
mod reports;
#[cfg(all(feature = "half", feature = "safetensors"))]
mod running_statistics;
#[cfg(feature = "std")]
mod schedule_trials;
#[cfg(feature = "safetensors")]
mod seeds;
#[cfg(feature = "std")]
mod sequences;
#[cfg(feature = "std")]
mod sizes;
#[cfg(feature = "std")]
mod soundness;
#[cfg(any(feature = "std", feature = "serde"))]
mod sources;
#[cfg(feature = "std")]
mod specs;
#[cfg(feature = "safetensors")]
mod state_dict;
#[cfg(feature = "std")]
mod statistics;
#[cfg(feature = "safetensors")]
mod stops;
#[cfg(feature = "proptest")]
mod strategies;
#[cfg(feature = "std")]
mod summation;
#[cfg(feature = "std")]
mod table;
#[cfg(feature = "std")]
mod tasks;
#[cfg(feature = "std")]
mod threads;
#[cfg(feature = "tracing")]
mod traces;
#[cfg(feature = "std")]
mod trainer;
#[cfg(feature = "std")]
mod training_loop;
#[cfg(feature = "std")]
mod transforms;
#[cfg(feature = "std")]
mod trials;
#[cfg(feature = "std")]
mod truncation;
#[cfg(feature = "std")]
mod unmoved;
#[cfg(feature = "std")]
mod verdicts;
#[cfg(feature = "std")]
mod whole_course;
#[cfg(feature = "std")]
mod wild;
#[cfg(feature = "std")]
mod wrecks;
