use chainrule::{Extent, activation::*, layer::*, recurrent::*, theory::Certificate};
#[test]
fn show() {
    let mut builder = Sequential::<f64>::input(8);
    for _ in 0..10 {
        builder = builder.linear(8).activation(Sigmoid);
    }
    let network = builder.build().unwrap();
    let w = initialize(&network, 1).unwrap();
    println!("{}", Certificate::new(&network, &w, Extent::batch(1)).unwrap());
    let network = Sequential::<f64>::input(3)
        .recurrent(4, Elman::new(Sigmoid))
        .recurrent(4, Lstm)
        .recurrent(4, Gru::default())
        .bidirectional(3, Lstm)
        .mean_over_steps()
        .layer_norm()
        .linear(2)
        .build()
        .unwrap();
    let w = initialize(&network, 1).unwrap();
    println!("{}", Certificate::new(&network, &w, Extent::sequences(1, 20)).unwrap());
}
