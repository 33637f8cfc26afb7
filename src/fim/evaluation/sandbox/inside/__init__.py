"""What runs inside the sandbox: started by itself, with nothing but the standard library."""
