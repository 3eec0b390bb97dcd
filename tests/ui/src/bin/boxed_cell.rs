//~ is not a cell of a recurrent layer
//~ a cell chosen at run time is a `Recurrent` layer of it, as a `Box<dyn Layer<T>>`, not a `Box<dyn Cell>`
use chainrule::{layer::Sequential, recurrent::{Cell, Lstm}};

fn main() {
    let cell: Box<dyn Cell> = Box::new(Lstm::new());
    let _ = Sequential::<f32>::input(2).recurrent(4, cell).build();
}
