"""Explore: move compression sliders and see what they cost and bring."""

import streamlit as st

st.title("Explore")
