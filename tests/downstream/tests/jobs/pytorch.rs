//! Weights of a PyTorch network in, and back out.

use chainrule::model::{Model, ModuleNames, Precision, StateDict, export_state_dict, import_state_dict};
use chainrule::{Error, dataset::Dataset, layer::Layer, layer::Sequential};

#[test]
fn state_dict_of_a_torch_network_predicts_and_returns() -> Result<(), Error> {
    // In Python: save_file(model.state_dict(), path), of nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    // with the modules named `encoder` and `head`.
    let mut state = StateDict::new();
    state.insert("encoder.weight", &[2, 2], vec![1.0, 2.0, -1.0, 0.5])?;
    state.insert("encoder.bias", &[2], vec![0.0, 1.0])?;
    state.insert("head.weight", &[1, 2], vec![1.0, -2.0])?;
    state.insert("head.bias", &[1], vec![0.25])?;
    let path = std::env::temp_dir().join("downstream-torch.safetensors");
    state.save(&path, Precision::F64)?;

    let network = Sequential::<f64>::input(2).linear(2).relu().linear(1).build()?;
    let names = ModuleNames::new().module("0", "encoder").module("2", "head");
    let mut w = vec![0.0; network.dims().parameters];
    import_state_dict(&network, &mut w, &mut [], &StateDict::load(&path)?, &names)?;
    let exported = export_state_dict(&network, &w, &[], &names)?;
    assert!(state.names().all(|name| exported.get(name) == state.get(name)));
    std::fs::remove_file(path).expect("the file");
    let model = Model::new(network, w)?;
    // encoder(1, 1) = (3, 0.5), the head 3 − 2 · 0.5 + 0.25.
    assert_eq!(model.predict(&Dataset::rows(2, &[1.0, 1.0], None)?)?, [2.25]);
    Ok(())
}
