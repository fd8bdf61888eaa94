//! `#[derive(Freeze)]`: writes every field of a type, in order. A field that is added is written from then on; none can be
//! forgotten.
//!
//! A field may say `#[freeze(base)]`: it is not written, and is taken from the state that the frozen one began as. Or
//! `#[freeze(with = module)]`: the module's `put` and `take` do it, for types of crates that know nothing of this.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Fields, Ident, parse_macro_input};

/// How one field is written.
enum How {
    Itself,
    Base,
    With(syn::Path),
}

fn how(field: &syn::Field) -> syn::Result<How> {
    let mut how = How::Itself;
    for attr in field.attrs.iter().filter(|a| a.path().is_ident("freeze")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("base") {
                how = How::Base;
            } else if meta.path.is_ident("with") {
                how = How::With(meta.value()?.parse()?);
            } else {
                return Err(meta.error("expected `base` or `with = module`"));
            }
            Ok(())
        })?;
    }
    Ok(how)
}

/// What is made of the fields of a struct or of a variant.
struct Parts {
    /// Binds each field to `f_…`, and makes it of them.
    pattern: TokenStream,
    /// The same, to `b_…`, for the base.
    base: TokenStream,
    /// Binds nothing: `b_…` are `None`.
    puts: TokenStream,
    takes: TokenStream,
    /// The names `b_…`.
    bases: Vec<Ident>,
}

fn parts(fields: &Fields) -> syn::Result<Parts> {
    let mut names = Vec::new();
    let (mut puts, mut takes) = (TokenStream::new(), TokenStream::new());
    for (i, field) in fields.iter().enumerate() {
        let name = field.ident.clone().map_or_else(
            || format_ident!("at_{i}"),
            |n| format_ident!("{}", n.to_string().trim_start_matches("r#")),
        );
        let (f, b) = (format_ident!("f_{name}"), format_ident!("b_{name}"));
        let ty = &field.ty;
        match how(field)? {
            How::Itself => {
                puts.extend(quote!(<#ty as ::turncoat_freeze::Freeze>::put(#f, #b, out);));
                takes.extend(quote!(let #f = <#ty as ::turncoat_freeze::Freeze>::take(#b, from)?;));
            }
            How::Base => {
                puts.extend(quote!(let _ = (#f, #b);));
                takes.extend(quote!(
                    let #f: #ty = #b.cloned().ok_or(::turncoat_freeze::Damaged("nothing to begin with"))?;
                ));
            }
            How::With(path) => {
                puts.extend(quote!(#path::put(#f, #b, out);));
                takes.extend(quote!(let #f: #ty = #path::take(#b, from)?;));
            }
        }
        names.push((field.ident.clone(), f, b));
    }
    let bind = |fs: Vec<&Ident>| match fields {
        Fields::Named(_) => {
            let ids = names.iter().map(|n| &n.0);
            quote!({ #(#ids: #fs),* })
        }
        Fields::Unnamed(_) => quote!((#(#fs),*)),
        Fields::Unit => quote!(),
    };
    let fs = || names.iter().map(|n| &n.1).collect();
    let bs = || names.iter().map(|n| &n.2).collect();
    Ok(Parts {
        pattern: bind(fs()),
        base: bind(bs()),
        bases: names.iter().map(|n| n.2.clone()).collect(),
        puts,
        takes,
    })
}

/// Binds the base's fields where the base is of this shape, and to nothing else.
fn bases(path: &TokenStream, p: &Parts) -> TokenStream {
    let (base, names) = (&p.base, &p.bases);
    if names.is_empty() {
        return quote!(let _ = base;);
    }
    let nones = names.iter().map(|_| quote!(None));
    quote!(
        #[allow(unreachable_patterns)]
        let (#(#names,)*) = match base {
            Some(#path #base) => (#(Some(#names),)*),
            _ => (#(#nones,)*),
        };
    )
}

/// How a struct or a variant is written, behind `head`, as an arm of a `match`; and how it is taken.
fn arm(path: &TokenStream, fields: &Fields, head: &TokenStream) -> syn::Result<(TokenStream, TokenStream)> {
    let p = parts(fields)?;
    let base = bases(path, &p);
    let Parts {
        pattern, puts, takes, ..
    } = &p;
    Ok((
        quote!(#path #pattern => { #base #head #puts }),
        quote!(#base #takes Ok(#path #pattern)),
    ))
}

fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for p in generics.type_params_mut() {
        p.bounds.push(syn::parse_quote!(::turncoat_freeze::Freeze));
    }
    let (generics, types, clause) = generics.split_for_impl();
    let (put, take) = match &input.data {
        Data::Struct(s) => arm(&quote!(Self), &s.fields, &quote!())?,
        Data::Enum(e) => {
            let (mut puts, mut takes) = (TokenStream::new(), TokenStream::new());
            for (i, v) in e.variants.iter().enumerate() {
                let i = u32::try_from(i).map_err(|_| syn::Error::new_spanned(v, "too many variants"))?;
                let ident = &v.ident;
                let head = quote!(out.number(u64::from(#i)););
                let (put, take) = arm(&quote!(Self::#ident), &v.fields, &head)?;
                puts.extend(put);
                takes.extend(quote!(#i => { #take }));
            }
            (
                puts,
                quote!(match from.variant()? { #takes _ => Err(::turncoat_freeze::Damaged("no such variant")) }),
            )
        }
        Data::Union(_) => return Err(syn::Error::new_spanned(input, "a union cannot be frozen")),
    };
    Ok(quote!(
        impl #generics ::turncoat_freeze::Freeze for #name #types #clause {
            #[allow(unused_variables)]
            fn put(&self, base: Option<&Self>, out: &mut ::turncoat_freeze::Out) { match self { #put } }
            #[allow(unused_variables)]
            fn take(
                base: Option<&Self>,
                from: &mut ::turncoat_freeze::In<'_>,
            ) -> ::core::result::Result<Self, ::turncoat_freeze::Damaged> { #take }
        }
    ))
}

/// Implements `Freeze`.
#[proc_macro_derive(Freeze, attributes(freeze))]
pub fn freeze(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}
